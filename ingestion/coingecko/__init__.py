"""CoinGecko's API: the only code that knows its addresses, its JSON and its errors."""
