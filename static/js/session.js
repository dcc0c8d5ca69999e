// A page somebody looks at keeps its session awake; a feed left open in the background does
// not.
const every = 10 * 60 * 1000;
let last = Date.now();

async function touch() {
	if (document.hidden || Date.now() - last < every) return;
	last = Date.now();
	const answer = await fetch("/session", { method: "POST", headers: { "HX-Request": "true" } }).catch(() => null);
	if (answer?.status === 401) location.assign("/login");
}

if (document.body.dataset.me) {
	setInterval(touch, 60 * 1000);
	document.addEventListener("visibilitychange", touch);
}
