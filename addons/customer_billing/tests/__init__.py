from . import (
    test_amendment,
    test_contract,
    test_correction,
    test_exception,
    test_health,
    test_hostile,
    test_portal,
    test_report,
    test_run,
    test_security,
    test_usage,
    test_usage_import,
)
