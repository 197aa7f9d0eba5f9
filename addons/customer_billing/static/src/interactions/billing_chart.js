import { loadBundle } from "@web/core/assets";
import { registry } from "@web/core/registry";
import { Interaction } from "@web/public/interaction";

// Told apart by people who do not see colours well, too (Okabe and Ito).
const COLORS = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#f0e442",
];

/**
 * A chart of what the table beside it says; the table is for those who cannot see the chart.
 * The library is loaded when a page has a chart only.
 */
export class BillingChart extends Interaction {
    static selector = ".o_billing_chart";

    async willStart() {
        await loadBundle("web.chartjs_lib");
    }

    start() {
        const { type, stacked, labels, datasets } = JSON.parse(this.el.dataset.chart);
        const chart = new Chart(this.el.querySelector("canvas"), {
            type,
            data: {
                labels,
                datasets: datasets.map((dataset, index) => ({
                    ...dataset,
                    backgroundColor: COLORS[index % COLORS.length],
                })),
            },
            options: {
                animation: false,
                maintainAspectRatio: false,
                plugins: { legend: { display: datasets.length > 1, position: "bottom" } },
                scales: {
                    x: { stacked: Boolean(stacked), grid: { display: false } },
                    y: { stacked: Boolean(stacked), beginAtZero: true },
                },
            },
        });
        this.registerCleanup(() => chart.destroy());
    }
}

registry.category("public.interactions").add("customer_billing.billing_chart", BillingChart);
