"""Pure kernels of payments: no ORM, no clock, no input or output."""
