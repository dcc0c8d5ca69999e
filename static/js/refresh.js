// Who was away for long is sent the newest page instead of all that happened. A reader at the end
// gets just that. One who reads further up stays where they are: the newest page is put beside what
// is there, older pages fill in between until the message in view has come again, and what has
// not come again is taken away. So everything that stays is as it is now.
const list = document.getElementById("messages");
const scroller = document.getElementById("scroller");
const most = 25; // pages
const pause = 2000;
const older = () => document.getElementById("older").getAttribute("hx-get");
let round = 0;

async function fill(id, own) {
	for (let page = 0; page < most && own === round; page++) {
		const address = older();
		if (!address || !document.getElementById(id)?.hasAttribute("data-stale")) break;
		await htmx.ajax("GET", address, { source: scroller, swap: "none" });
		if (older() === address) await new Promise((done) => setTimeout(done, pause)); // no answer
	}
	if (own !== round) return;
	scroller.remember();
	for (const li of list.querySelectorAll("[data-stale]")) li.remove();
}

document.addEventListener("htmx:before:swap", ({ detail: { ctx, tasks } }) => {
	const task = tasks?.find(({ target, swapSpec }) => target === list && /^inner/.test(swapSpec.style));
	const reads = task && !scroller.stuck && scroller.firstInView("bottom");
	if (!reads) return;
	const own = ++round;
	for (const li of list.children) li.setAttribute("data-stale", "");
	task.swapSpec.style = "upsert";
	document.addEventListener("htmx:finally:swap", function done({ detail }) {
		if (detail.ctx !== ctx) return;
		document.removeEventListener("htmx:finally:swap", done);
		fill(reads.id, own);
	});
});
