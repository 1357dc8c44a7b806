/** The guest of a capture, able to do again what was recorded of it. What it cannot do throws GuestFileError. */
export interface RecordedGuest {
  /** How much there is to play. */
  readonly length: number;
  /** What one of it is, for people: `event`. */
  readonly unit: string;
  /** What a reader should know about it; there may be more when it has been played. */
  readonly notes: readonly string[];

  /** Makes its requester begin with nothing mapped: where a capture without plug begins. */
  startFromNothing(): Promise<void>;

  /** Plays everything; `played` is called with the number of those done now and then. */
  play(played: (done: number) => void): Promise<void>;
}
