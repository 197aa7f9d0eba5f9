import { registry } from "@web/core/registry";
import { Interaction } from "@web/public/interaction";

/** Shows the total of the chosen bills; what is paid is computed by the server. */
export class BillSelection extends Interaction {
    static selector = "form.o_billing_selection";
    dynamicContent = {
        "input[name=bill]": { "t-on-change": this.update },
        ".o_billing_all": { "t-on-change": this.chooseAll },
    };

    start() {
        this.update();
    }

    get boxes() {
        return [...this.el.querySelectorAll("input[name=bill]")];
    }

    chooseAll(ev) {
        for (const box of this.boxes) {
            box.checked = ev.target.checked;
        }
        this.update();
    }

    update() {
        const chosen = this.boxes.filter((box) => box.checked);
        const total = chosen.reduce((sum, box) => sum + parseFloat(box.dataset.amount), 0);
        const digits = parseInt(this.el.dataset.digits);
        const figure = total.toLocaleString(document.documentElement.lang || undefined, {
            minimumFractionDigits: digits,
            maximumFractionDigits: digits,
        });
        const { symbol, position } = this.el.dataset;
        this.el.querySelector(".o_billing_total").textContent =
            position === "before" ? `${symbol}\u00a0${figure}` : `${figure}\u00a0${symbol}`;
        this.el.querySelector("button[type=submit]").disabled = !chosen.length;
        this.el.querySelector(".o_billing_all").checked = chosen.length === this.boxes.length;
    }
}

registry
    .category("public.interactions")
    .add("customer_billing_payment.bill_selection", BillSelection);
