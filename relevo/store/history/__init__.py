"""Years of readings: chunks, hours and days, the processes that make and open them, and what leaves them again."""
