"""The SQL of the two endpoints written by hand."""

PRICES = """
    SELECT hour.bucket, hour.price
    FROM price_hourly AS hour
    JOIN series ON series.id = hour.series_id
    WHERE series.coin_id = $1 AND series.currency_code = $2
      AND hour.bucket >= $3 AND hour.bucket < $4
    ORDER BY hour.bucket
"""

CURRENCIES = "SELECT code FROM currency ORDER BY code"

COINS = """
    SELECT coin.id, coin.symbol, coin.name, latest.price, latest.market_cap, latest.volume,
           latest.change_24h, latest.observed_at
    FROM coin
    LEFT JOIN series ON series.coin_id = coin.id AND series.currency_code = $1
    LEFT JOIN price_latest AS latest ON latest.series_id = series.id
    ORDER BY coin.id
    LIMIT $2
"""
