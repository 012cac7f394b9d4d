"""What runs on a device: single files, standard library only; nothing of llmos is imported."""
