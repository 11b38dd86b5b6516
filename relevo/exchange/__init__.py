"""History out of Relevo and into it: files of any size, made and read by a process of their own."""
