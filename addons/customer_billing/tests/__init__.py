from . import test_contract
from . import test_run
from . import test_portal
from . import test_report
from . import test_security
from . import test_hostile
