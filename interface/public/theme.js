// Runs before the first paint: a page that starts white and turns dark hurts at night.
(function () {
  var chosen = null;
  try {
    chosen = localStorage.getItem('relevo.theme');
  } catch (e) {
    // Storage may be forbidden; the system's preference still holds.
  }
  var dark = chosen === 'dark' || (chosen !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
