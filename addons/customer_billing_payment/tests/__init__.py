from . import test_charge, test_credit, test_mandate, test_portal, test_security
