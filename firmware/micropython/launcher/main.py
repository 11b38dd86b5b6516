import boot

boot.start()
