from . import billing_contract_close
