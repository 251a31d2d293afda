/* The page that explains the service, on the address of the card operations. */
import { assert, assertAccessible, config, DESKTOP, PHONE, pictures, test } from './harness.mjs';

const PAGE = `http://127.0.0.1:${config.httpPort}/sosigw/service/sosigw`;

for (const [lang, heading] of [['da', 'Fejlkoder'], ['en', 'Fault codes']])
	test(`the service page can be used by all, in light and dark, on desktop and phone (${lang})`, async t => {
		const page = await t.open(`${PAGE}?lang=${lang}`);
		assert(await page.getByRole('heading', { name: heading, exact: true }).isVisible());
		for (const viewport of [DESKTOP, PHONE]) {
			await page.setViewportSize(viewport);
			await assertAccessible(page, `service page, ${lang}, ${viewport.width} wide`);
			const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
			assert.equal(wide, 0, `the page is ${wide} pixels wider than a window of ${viewport.width}`);
		}
		await pictures(page, `service-${lang}`);
	});
