"""The limits on calls: the rate, and the credits of a month."""
