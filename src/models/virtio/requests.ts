import { AttachRequests } from './attach-requests.ts';
import { MapRequests } from './map-requests.ts';
import type { Outcome, RequestParts } from './request-parts.ts';
import * as spec from './spec/index.ts';
import type { Trial } from './trial.ts';

/** Carries requests out, as far as they can be before hosts have confirmed (virtio 1.3, 5.13.6). */
export class Requests {
  readonly #parts: RequestParts;
  readonly #attach: AttachRequests;
  readonly #map: MapRequests;

  constructor(parts: RequestParts) {
    this.#parts = parts;
    this.#attach = new AttachRequests(parts);
    this.#map = new MapRequests(parts);
  }

  /** Carries `request` out as part of `trial`; undefined, and nothing done, when that has to be over first. */
  perform(request: spec.Request, trial: Trial): Outcome | undefined {
    switch (request.type) {
      case spec.T_ATTACH:
        return this.#attach.attach(request, trial);
      case spec.T_DETACH:
        return this.#attach.detach(request, trial);
      case spec.T_MAP:
        return this.#map.map(request, trial);
      case spec.T_UNMAP:
        return this.#map.unmap(request, trial);
      case spec.T_PROBE:
        return { status: this.#probe(request) };
    }
  }

  #probe({ endpoint }: spec.ProbeRequest): number {
    return this.#parts.settings.endpointExists(endpoint) ? spec.S_OK : spec.S_NOENT;
  }
}
