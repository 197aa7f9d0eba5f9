from . import aged_report, portal, portal_dispute, portal_home, portal_request, portal_usage, price_notice, profile
