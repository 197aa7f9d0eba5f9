import { registry } from "@web/core/registry";
import { Interaction } from "@web/public/interaction";

/** Sends a form once, however often its button is clicked; the server takes a second one for the first, too. */
export class SubmitOnce extends Interaction {
    static selector = "form.o_billing_once";
    dynamicContent = {
        _root: { "t-on-submit": this.onSubmit },
        _window: { "t-on-pageshow": () => this.setDisabled(false) }, // back to the page
    };

    onSubmit(ev) {
        if (this.isSent) {
            ev.preventDefault();
        } else {
            this.setDisabled(true);
        }
    }

    setDisabled(isSent) {
        this.isSent = isSent;
        for (const button of this.el.querySelectorAll("button[type=submit]")) {
            button.disabled = isSent;
        }
    }
}

registry.category("public.interactions").add("customer_billing.submit_once", SubmitOnce);
