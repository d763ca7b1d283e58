"""Computations on prices: statistics, outliers, averages, downsampling. Pure."""
