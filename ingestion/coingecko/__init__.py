"""The client of CoinGecko's API: the only code that knows its URLs, its JSON and its errors."""
