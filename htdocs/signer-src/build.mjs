/*
 * Makes signer.js, its hash and the licences of what is in it:  node build.mjs MODULES OUT
 * MODULES is the node_modules folder of package-lock.json. The same sources and lockfile give the same octets.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { text as sha1Steps } from './sha1-steps.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const [modules, out] = process.argv.slice(2).map(path => resolve(path));
const esbuild = createRequire(join(modules, 'x.js'))('esbuild');

/* des.js and rc2.js of node-forge over octets instead of its own string buffers */
const withoutForgeUtil = {
	name: 'forge-bytes',
	setup({ onResolve }) {
		onResolve({ filter: /^\.\/(util|cipher|cipherModes)$/ }, ({ importer }) =>
			importer.includes('/node-forge/') ? { path: join(here, 'forge-bytes.js') } : undefined);
	},
};

const withSha1Steps = {
	name: 'sha1-steps',
	setup({ onResolve, onLoad }) {
		onResolve({ filter: /^\.\/sha1-steps\.js$/ }, () => ({ path: 'sha1-steps.js', namespace: 'made' }));
		onLoad({ filter: /.*/, namespace: 'made' }, () => ({ contents: sha1Steps }));
	},
};

const result = await esbuild.build({
	entryPoints: [join(here, 'main.js')],
	absWorkingDir: here,
	nodePaths: [modules],
	bundle: true,
	minify: true,
	format: 'esm',
	target: 'es2022',
	charset: 'utf8',
	legalComments: 'none',
	banner: { js: '/*! SOSI-GW, Apache-2.0. Sources: signer-src. Bundled libraries and their licences: signer-licences.txt */' },
	plugins: [withoutForgeUtil, withSha1Steps],
	metafile: true,
	write: false,
});

/* Every package that something in the bundle came from. */
const bundled = Object.keys(result.metafile.inputs)
	.map(path => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1])
	.filter(name => name);
const licences = [...new Set(bundled)].sort().map(name => {
	const { version, license } = JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8'));
	const text = readFileSync(join(modules, name, 'LICENSE'), 'utf8').trim();
	return `${name} ${version} (${license})\n\n${text}\n`;
});

const script = result.outputFiles[0].contents;
const hash = createHash('sha384').update(script).digest('base64');
writeFileSync(join(out, 'signer.js'), script);
writeFileSync(join(out, 'signer.js.sha384'), `${hash}\n`);
writeFileSync(join(out, 'signer-licences.txt'),
	`signer.js is made of the sources in signer-src and of these packages.\n\n${licences.join(`\n${'-'.repeat(80)}\n\n`)}`);
