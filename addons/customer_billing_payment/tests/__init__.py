from . import (
    test_charge,
    test_credit,
    test_mandate,
    test_overview,
    test_poll,
    test_portal,
    test_prepaid,
    test_security,
)
