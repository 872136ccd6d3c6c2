"""What can be trusted of files from somebody else."""
