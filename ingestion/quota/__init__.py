"""How many calls may be made: rate and monthly credits."""
