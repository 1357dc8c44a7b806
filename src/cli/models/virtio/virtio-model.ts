import { type Capture, type CaptureRequest, GuestFileError, requestsAsMeant } from '../../../guests/index.ts';
import { parseRequesterId, type RequesterId } from '../../../iommu/index.ts';
import { addressOf } from '../../../memory/index.ts';
import { spec, VirtioIommu } from '../../../models/virtio/index.ts';
import type { CaptureOpening, GuestModel } from '../guest-model.ts';
import type { OpenIommu } from '../open-iommu.ts';
import { RequestPlayer } from './request-player.ts';
import { VirtioGuest } from './virtio-guest.ts';
import { DOORBELL, OpenVirtio } from './virtio-unit.ts';

/** The virtio IOMMU. */
export const virtioModel: GuestModel = {
  names: ['virtio', 'virtio-iommu'],
  title: 'virtio-iommu',
  hasTables: false,
  hasPasids: false,
  openCapture,
  core: undefined,
};

/** The state of such an IOMMU is what its guest asked for, so all of that is done again. */
async function openCapture({ capture, file, memory, final }: CaptureOpening): Promise<OpenIommu> {
  const recorded = await requestsOf(capture, file);
  const requests = requestsAsMeant(recorded, endpointsOf(capture));
  const plug = requests.findIndex(({ op }) => op === 'plug');
  const before = final || plug < 0 ? requests : requests.slice(0, plug);
  const after = final || plug < 0 ? undefined : requests.slice(plug + 1);
  const reserved = {
    subtype: spec.RESV_MEM_T_MSI,
    start: addressOf(DOORBELL.start),
    end: addressOf(DOORBELL.end) - 1n,
  };
  const iommu = new VirtioIommu({ memory, reserved: [reserved] });
  const player = await RequestPlayer.boot(capture, file, iommu);
  await player.play(before);
  return new OpenVirtio({
    iommu,
    endpoints: attachedBy(before),
    played: before.filter(({ op }) => op === 'request').length,
    guest: after && new VirtioGuest(file, player, after, requests === recorded ? [] : [MISREAD]),
  });
}

async function requestsOf(capture: Capture, file: string): Promise<readonly CaptureRequest[]> {
  const requests = await capture.requests();
  if (requests === undefined) {
    throw new GuestFileError({
      code: 'capture',
      file,
      place: '$.files.requests',
      problem: 'the capture has no requests, and this IOMMU has no other state',
      remedy: 'record the capture again with the requests of the guest',
    });
  }
  return requests;
}

/** Requester IDs that the captured machine has. */
function endpointsOf({ pci, requesters, plugRequester }: Capture): Set<RequesterId> {
  const names = [...pci.map(({ bdf }) => bdf), ...requesters, plugRequester ?? ''];
  return new Set(names.map(parseRequesterId).filter((id) => id !== undefined));
}

const MISREAD =
  'the decimal digits of endpoints and domains were recorded as hexadecimal ones, and were read back';

/** Endpoints that requests name, ascending. */
function attachedBy(requests: readonly CaptureRequest[]): RequesterId[] {
  const endpoints = new Set<RequesterId>();
  for (const line of requests) {
    if (line.op === 'request' && line.request.type === spec.T_ATTACH) endpoints.add(line.request.endpoint);
  }
  return [...endpoints].sort((a, b) => a - b);
}
