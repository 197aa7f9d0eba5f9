from . import test_payment_collection, test_transit
