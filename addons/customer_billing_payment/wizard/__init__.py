from . import billing_health
