// Loaded right after htmx and before its extensions. It gives htmx the only Trusted Types
// policy the CSP allows, and takes every way to run text as code away from it.
(() => {
	const rules = { createHTML: (text) => text, createScript: () => "" };
	const policy = window.trustedTypes ? trustedTypes.createPolicy("htmx", rules) : rules;
	const deny = function () {
		throw new Error("Conclave runs no code from attributes");
	};
	htmx.registerExtension("safe", { init: (api) => api.initSecurity(policy, deny, deny) });
})();
