import { registry } from "@web/core/registry";
import { Interaction } from "@web/public/interaction";

/**
 * Says what is wrong with a form that came back: each error belongs to its field, and the first one gets the focus, so
 * that it is read aloud and corrected without searching.
 */
export class FormErrors extends Interaction {
    static selector = "#wrap:has(form.o_billing_once)";

    start() {
        const targets = [...this.el.querySelectorAll("form.o_billing_once [id^='error_']")].map(
            (error) => this.mark(error) || error
        );
        const target = targets[0] || this.el.querySelector(".alert-danger[role='alert']");
        if (target && !target.matches("input, select, textarea")) {
            target.tabIndex = -1;
        }
        target?.focus();
    }

    /** Ties an error to the fields of its name; returns the first one. */
    mark(error) {
        const found = error.closest("form").elements[error.id.slice("error_".length)];
        const fields = found instanceof RadioNodeList ? [...found] : found ? [found] : [];
        for (const field of fields) {
            const known = (field.getAttribute("aria-describedby") || "").split(" ");
            field.setAttribute("aria-describedby", [...new Set([...known, error.id])].join(" ").trim());
            field.setAttribute("aria-invalid", "true");
            field.classList.add("is-invalid");
        }
        return fields[0];
    }
}

registry.category("public.interactions").add("customer_billing.form_errors", FormErrors);
