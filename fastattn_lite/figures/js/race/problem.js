/** Why a race could not go on, as the name of the sentence that says so (in strings, `problem_...`). */
export class Problem extends Error {}
