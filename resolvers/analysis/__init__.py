"""What is computed from prices: statistics, outliers, averages, fewer points for charts. Pure."""
