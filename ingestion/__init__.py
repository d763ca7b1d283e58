"""Fetching prices from CoinGecko and storing them."""
