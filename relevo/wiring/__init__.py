"""Parts of the wiring that :mod:`relevo.app` puts together: doors, live views, figures."""
