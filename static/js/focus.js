// Whoever works with the keyboard keeps the place when what has the focus is replaced: the same
// link or field in what came instead, else whatever around it can have the focus. (The messages
// see to themselves.)
let held = null;

document.addEventListener("htmx:before:swap", ({ detail }) => {
	const had = document.activeElement;
	const place = detail.tasks?.map(({ target }) => target).find((target) => target?.contains?.(had) && target !== document.body);
	held = place && had !== place ? { place, had, id: had.id, href: had.getAttribute("href"), around: place.parentElement.closest("[tabindex], dialog") } : null;
});

document.addEventListener("htmx:finally:swap", () => {
	if (!held || document.activeElement !== document.body) return held = null;
	const { place, had, id, href, around } = held;
	held = null;
	if (had.isConnected) return;
	const same = (id && document.getElementById(id)) || (href && place.isConnected && place.querySelector(`a[href="${CSS.escape(href)}"]`));
	(same || (place.isConnected && place.querySelector("a, button, input, textarea")) || around)?.focus({ preventScroll: true });
});
