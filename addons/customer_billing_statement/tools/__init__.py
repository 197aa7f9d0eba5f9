"""Pure kernels of statements: no ORM, no clock. Files come in as bytes, money is ``decimal.Decimal``."""
