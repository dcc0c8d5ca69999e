// The keys that stand alone: ? shows all shortcuts, C leads to the box. They are nobody's while a
// field has the focus, a dialog is open, another key is held, or this device has them switched off.
const busy = "input, textarea, select, dialog[open]";
let dialog = null;

async function help() {
	if (!window.htmx) return; // it comes later
	if (!dialog) {
		dialog = document.createElement("dialog");
		dialog.className = "dialog keys-dialog";
		dialog.setAttribute("aria-labelledby", "keys-heading");
		dialog.addEventListener("click", ({ target }) => target.closest("button") && dialog.close());
		document.body.append(dialog);
	}
	if (!dialog.firstElementChild) await htmx.ajax("GET", "/keys", { source: dialog, target: dialog });
	if (dialog.firstElementChild && !document.querySelector("dialog[open]")) dialog.showModal();
}

const does = {
	"?": () => location.pathname === "/keys" || help(),
	c: () => document.getElementById("body")?.focus(),
};

if (document.body.dataset.me) document.addEventListener("keydown", (event) => {
	const act = Object.hasOwn(does, event.key) && does[event.key];
	if (!act || event.defaultPrevented || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
	if (!document.documentElement.hasAttribute("data-keys")) return;
	if (event.target.closest?.(busy) || document.querySelector("dialog[open]")) return;
	event.preventDefault();
	act();
});
