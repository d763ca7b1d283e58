"""The commands of `coingraph`, one file each."""
