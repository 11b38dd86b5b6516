"""Work that runs beside the road: timed, or on demand."""
