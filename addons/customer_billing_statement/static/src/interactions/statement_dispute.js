import { _t } from "@web/core/l10n/translation";
import { registry } from "@web/core/registry";
import { addLoadingEffect } from "@web/core/utils/ui";
import { Interaction } from "@web/public/interaction";

/**
 * Sends the form of objections without leaving the page, so that chosen files and what was typed
 * stay when something has to be corrected, and a second click sends nothing twice.
 */
export class StatementDispute extends Interaction {
    static selector = "form.o_statement_dispute";
    dynamicContent = {
        _root: { "t-on-submit.prevent": this.locked(this.onSubmit) },
    };

    async onSubmit() {
        const stopLoading = addLoadingEffect(this.el.querySelector("button[type=submit]"));
        const answer = await this.waitFor(this.send());
        if (answer.redirect) {
            window.location = answer.redirect;
            return new Promise(() => {}); // the button stays off until the page is left
        }
        stopLoading();
        this.showErrors(answer.errors);
    }

    async send() {
        try {
            const response = await fetch(this.el.action, {
                method: "POST",
                body: new FormData(this.el),
                headers: { Accept: "application/json" },
            });
            if (response.status === 413) {
                return { errors: { files: _t("These files are too large together.") } };
            }
            if (response.ok) {
                return await response.json();
            }
        } catch {
            // no connection: said below, what was typed stays
        }
        return {
            errors: { what: _t("It could not be sent. Check your connection, then try again.") },
        };
    }

    showErrors(errors) {
        for (const el of this.el.querySelectorAll("[data-error-for]")) {
            const message = errors[el.dataset.errorFor] || "";
            el.textContent = message;
            el.classList.toggle("d-none", !message);
            const input = this.el.elements[el.dataset.errorFor];
            input?.classList.toggle("is-invalid", Boolean(message));
            input?.setAttribute("aria-invalid", Boolean(message));
        }
        const first = this.el.querySelector("[data-error-for]:not(.d-none)");
        const target = this.el.elements[first?.dataset.errorFor] || first;
        target?.focus();
        target?.scrollIntoView({ block: "center" });
    }
}

registry
    .category("public.interactions")
    .add("customer_billing_statement.statement_dispute", StatementDispute);
