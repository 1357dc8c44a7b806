import { type CaptureRequest, GuestFileError } from '../../../guests/index.ts';
import type { RecordedGuest } from '../recorded-guest.ts';
import type { RequestPlayer } from './request-player.ts';

/** The guest of a virtio capture with the requests that it sent after the plug. */
export class VirtioGuest implements RecordedGuest {
  readonly unit = 'request';
  readonly #file: string;
  readonly #player: RequestPlayer;
  readonly #requests: readonly CaptureRequest[];
  readonly #notes: readonly string[];

  /** `file` is the path of capture.json; `notes` come before what the player has to say. */
  constructor(
    file: string,
    player: RequestPlayer,
    requests: readonly CaptureRequest[],
    notes: readonly string[],
  ) {
    this.#notes = notes;
    this.#file = file;
    this.#player = player;
    this.#requests = requests;
  }

  get length(): number {
    return this.#requests.length;
  }

  get notes(): readonly string[] {
    return [...this.#notes, ...this.#player.notes];
  }

  startFromNothing(): Promise<void> {
    const error = new GuestFileError({
      code: 'capture',
      file: this.#file,
      place: '$.plug',
      problem: 'the requests have a line for a plug, and capture.json says that nothing was plugged in',
      remedy: 'say in $.plug which requester the device got, or take the line out',
    });
    return Promise.reject(error);
  }

  play(played: (done: number) => void): Promise<void> {
    return this.#player.play(this.#requests, played);
  }
}
