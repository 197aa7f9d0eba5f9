from . import test_payment_collection
