"""Pure kernels of the billing engine: no ORM, no clock, no input or output.

Import the module that you need, for instance ``from ..tools import recurrence``. Days are
``datetime.date`` in half-open ranges ``[start, end)``, money is ``decimal.Decimal``.
"""
