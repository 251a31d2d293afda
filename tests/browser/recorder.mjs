/*
 * A TLS front before the gateway that keeps every request as it came out of the browser. Chromium logs its own sockets; the other
 * browsers' drivers do not even tell what a form has posted.
 */
import { readFileSync } from 'node:fs';
import { Agent, createServer, request as forward } from 'node:https';
import { join } from 'node:path';

export class Recorder {
	/* world: the folder of the test CA; target: the gateway's own address */
	constructor(world, target) {
		this.requests = [];	/* { method, url, headers, body } */
		this.target = new URL(target);
		this.agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
		this.server = createServer({ cert: readFileSync(join(world, 'tls.pem')), key: readFileSync(join(world, 'tls.key')) },
			(request, response) => this.pass(request, response));
	}

	async start() {
		await new Promise(done => this.server.listen(0, '127.0.0.1', done));
		this.url = `https://127.0.0.1:${this.server.address().port}`;
	}

	stop() {
		this.agent.destroy();
		this.server.closeAllConnections();
		this.server.close();
	}

	async pass(request, response) {
		const chunks = [];
		for await (const chunk of request)
			chunks.push(chunk);
		const { method, headers } = request;
		const body = Buffer.concat(chunks);
		this.requests.push({ method, url: `${this.url}${request.url}`, headers, body });
		const { hostname, port } = this.target;
		forward({ hostname, port, path: request.url, method, headers: request.rawHeaders, agent: this.agent }, answer => {
			response.writeHead(answer.statusCode, answer.rawHeaders);
			answer.pipe(response);
		}).on('error', () => response.destroy()).end(body);
	}
}
