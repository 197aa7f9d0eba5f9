from . import collection_report, portal
