"""What every room stands on: files, this computer, progress, figures."""
