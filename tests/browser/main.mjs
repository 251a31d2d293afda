/* Runs the browser tests; `run` starts it. The last line is "N passed, N failed". */
import { launch, runTests } from './harness.mjs';
import { fixture } from './script.mjs';

await fixture.start();
const browser = await launch();
const { passed, failed } = await runTests(browser);
await browser.close();
fixture.stop();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
