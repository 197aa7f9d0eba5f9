import requests

from odoo import models


class ProviderCall:
    """In the context of a call to a provider: what became of it. No caller over RPC can pass it."""

    def __init__(self):
        self.is_unknown = False


def is_unknown(error):
    """Whether an error of a request leaves open what the provider did with it: no answer, or its own failure."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, requests.exceptions.HTTPError):
        return cause.response is None or cause.response.status_code >= 500
    return isinstance(cause, requests.exceptions.RequestException | TimeoutError | ConnectionError)


class PaymentProvider(models.Model):
    _inherit = "payment.provider"

    def _send_api_request(self, *args, **kwargs):
        """Core tells refusals and missing answers by the same error: note which it is, before a provider's own code
        catches it."""
        try:
            return super()._send_api_request(*args, **kwargs)
        except Exception as error:
            call = self.env.context.get("billing_call")
            if isinstance(call, ProviderCall) and is_unknown(error):
                call.is_unknown = True
            raise
