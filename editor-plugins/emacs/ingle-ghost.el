;;; ingle-ghost.el --- Suggestions as ghost text  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns suggestions: when one is asked for, how it is shown, followed while
;; it is typed, accepted and dismissed.  At most one is shown in an Emacs.
;;
;; Ghost text is an empty overlay at point with the text behind it, and
;; with the keymap `ingle-ghost-map'; without the overlay those keys are
;; what they always were.  While it is shown a function on
;; `post-command-hook' looks after every command whether it still belongs
;; there, and takes it away otherwise.

;;; Code:

(require 'cl-lib)
(require 'ingle-settings)
(require 'ingle-document)
(require 'subr-x)

(declare-function ingle--cancel "ingle-connection")
(declare-function ingle--obtain "ingle-connection")
(declare-function ingle--request "ingle-connection")
(declare-function ingle--connection "ingle-connection")
(declare-function ingle--start "ingle-connection")
(declare-function ingle--when-ready "ingle-connection")
(defvar ingle-mode)
(defvar ingle--state)
(defvar company-candidates)
(defvar evil-local-mode)
(defvar evil-state)

(defface ingle-ghost
  '((t :inherit shadow :slant italic))
  "Face of suggestions."
  :group 'ingle)

(defvar ingle-ghost-map
  (let ((map (make-sparse-keymap)))
    (define-key map (kbd "TAB") #'ingle-accept)
    (define-key map [tab] #'ingle-accept)
    (define-key map [backtab] #'ingle-accept-word)
    (define-key map [S-tab] #'ingle-accept-word)
    (define-key map [S-iso-lefttab] #'ingle-accept-word)
    (define-key map (kbd "M-RET") #'ingle-accept-line)
    (define-key map (kbd "M-n") #'ingle-next)
    ;; Only where there is something to choose from.
    (define-key map (kbd "M-p")
      '(menu-item "" ingle-previous :filter ingle--if-several))
    (define-key map (kbd "C-g") #'ingle-dismiss)
    (define-key map [escape] #'ingle-dismiss)
    map)
  "Keys while ghost text is shown, and only then.")

(cl-defstruct (ingle--ghost (:constructor ingle--make-ghost))
  "The suggestion that is shown.
CANDIDATES are conses of a text, as it was at first, and how many of the
characters after point go when it is accepted; INDEX is the shown one.
COMPLETE tells that there are no others.  ANCHOR is where they begin,
TYPED how many of their characters have been typed or accepted since,
SIZE the buffer's size when nothing was."
  overlay candidates index complete anchor typed size)

(defvar ingle--ghost nil
  "The suggestion that is shown, an `ingle--ghost', or nil.")

(defvar ingle--asked nil
  "The suggestion that is asked for: (CONNECTION ID BUFFER POINT TICK), or nil.")

(defvar ingle--ask-timer nil
  "Timer that will ask for a suggestion as soon as Emacs has drawn.")

(defvar-local ingle--tick-before nil
  "The buffer's tick before the running command.")

;;;; When

(defun ingle--unwelcome-p ()
  "Why no suggestion may appear here by itself; nil if one may."
  (cond ((not ingle-mode) "ingle-mode is off")
        ((not ingle-automatic) "suggestions come only when asked for")
        (buffer-read-only "the buffer is read-only")
        ((minibufferp) "this is the minibuffer")
        ((region-active-p) "the region is active")
        ((ingle--menu-p) "a completion menu is open")
        ((and (bound-and-true-p evil-local-mode) (not (eq evil-state 'insert)))
         "Evil is not in insert state")
        ((apply #'derived-mode-p ingle-disabled-modes) "the mode is disabled")
        ((run-hook-with-args-until-success 'ingle-inhibit-functions)
         "`ingle-inhibit-functions' say so")))

(defun ingle--menu-p ()
  "Whether a menu of completions is open."
  (or (bound-and-true-p completion-in-region-mode)
      (bound-and-true-p company-candidates)))

(defun ingle--before-command ()
  "Remember what the buffer is before a command."
  (setq ingle--tick-before (buffer-chars-modified-tick)))

(defun ingle--after-command ()
  "Ask for a suggestion if the command has edited the buffer."
  (cond ((or ingle--ghost (not ingle--tick-before)))
        ((= ingle--tick-before (buffer-chars-modified-tick))
         ;; Point may have gone away from where something was asked for.
         (when (and ingle--asked (not (apply #'ingle--unchanged-p (cddr ingle--asked))))
           (ingle--forget)))
        ((memq this-command '(undo undo-only undo-redo))
         (ingle--forget))
        (t (ingle--ask-soon))))

(defun ingle--ask-soon ()
  "Ask for a suggestion at point once Emacs has drawn what was typed."
  (ingle--forget)
  (setq ingle--ask-timer
        (run-at-time 0 nil #'ingle--ask-now (current-buffer) (point)
                     (buffer-chars-modified-tick))))

(defun ingle--ask-now (buffer point tick)
  "Ask for a suggestion if BUFFER is still at POINT and TICK."
  (setq ingle--ask-timer nil)
  (ingle--guarded
    (when (ingle--unchanged-p buffer point tick)
      (with-current-buffer buffer
        (unless (ingle--unwelcome-p)
          (require 'ingle-connection)
          (if (ingle--connection)
              (let ((connection (ingle--sync)))
                (when connection
                  (ingle--ask connection 2 #'ingle--receive)))
            (ingle--start)
            (when (eq ingle--state 'starting)
              (ingle--when-ready (lambda () (ingle--ask-now buffer point tick))))))))))

(defun ingle--unchanged-p (buffer point tick)
  "Whether BUFFER is where the user types and is still at POINT and TICK."
  (and (buffer-live-p buffer)
       (eq buffer (window-buffer (selected-window)))
       (with-current-buffer buffer
         (and (= point (point))
              (= tick (buffer-chars-modified-tick))))))

(defun ingle--ask (connection trigger receive)
  "Ask CONNECTION for a suggestion at point.
TRIGGER is 1 when the user asked by a command, 2 while typing.  RECEIVE
is called with the candidates if nothing has changed by then."
  (ingle--forget)
  (let ((buffer (current-buffer))
        (point (point))
        (tick (buffer-chars-modified-tick))
        id)
    (setq id (ingle--request
              connection :textDocument/inlineCompletion
              (list :textDocument (list :uri (plist-get (ingle--document) :uri))
                    :position (ingle--position point connection)
                    :context (list :triggerKind trigger))
              ;; The end of an older one, which was cancelled, is no news.
              :always (lambda ()
                        (when (eql id (nth 1 ingle--asked))
                          (setq ingle--asked nil)))
              :then (lambda (answer)
                      (when (ingle--unchanged-p buffer point tick)
                        (funcall receive (ingle--candidates answer connection))))
              :else (lambda (message code)
                      (when (and (= trigger 1) (not (memq code '(-32800 -1))))
                        (ingle--say "%s" message)))))
    (setq ingle--asked (and id (list connection id buffer point tick)))))

(defun ingle--forget ()
  "Cancel the suggestion that is asked for, if one is."
  (when ingle--ask-timer
    (cancel-timer ingle--ask-timer)
    (setq ingle--ask-timer nil))
  (when ingle--asked
    (let ((asked ingle--asked))
      (setq ingle--asked nil)
      (ignore-errors (ingle--cancel (nth 0 asked) (nth 1 asked))))))

;;;; Answers

(defun ingle--candidates (answer connection)
  "What can be inserted at point, of ANSWER from CONNECTION.
A list of (TEXT . REPLACED)."
  (let ((items (cond ((vectorp answer) answer)
                     ((proper-list-p answer) (plist-get answer :items)))))
    (delete-dups
     ;; What makes no sense is no suggestion.
     (delq nil (mapcar (lambda (item)
                         (ignore-errors (ingle--candidate item connection)))
                       (and (vectorp items) items))))))

(defun ingle--candidate (item connection)
  "The text at point by ITEM of an answer from CONNECTION, or nil.
The result is (TEXT . REPLACED): REPLACED characters after point go."
  (let* ((text (plist-get item :insertText))
         (text (if (stringp text) text (plist-get text :value)))
         (range (plist-get item :range))
         (start (if range (ingle--point (plist-get range :start) connection) (point)))
         (end (if range (ingle--point (plist-get range :end) connection) (point))))
    (when (and (stringp text) (<= start (point) end))
      (let ((before (buffer-substring-no-properties start (point))))
        (when (and (string-prefix-p before text)
                   (> (length text) (length before)))
          (cons (substring text (length before)) (- end (point))))))))

(defun ingle--receive (candidates)
  "Show CANDIDATES at point, which came while typing."
  (when (and candidates (not (ingle--unwelcome-p)))
    (ingle--show candidates)))

(defun ingle--receive-asked (candidates)
  "Show CANDIDATES at point, which the user asked for."
  (cond ((null candidates) (ingle--say "no suggestion here"))
        (buffer-read-only)
        (t (ingle--show candidates))))

(defun ingle--receive-more (candidates)
  "Take CANDIDATES for the place where one is shown, and show the next."
  (when (ingle--ghost-here-p)
    (let ((shown (ingle--ghost-candidate)))
      ;; What was typed meanwhile is part of the text now.
      (ingle--show (cons shown (cl-remove (car shown) candidates
                                          :key #'car :test #'equal)))
      (setf (ingle--ghost-complete ingle--ghost) t)
      (ingle-next))))

;;;; What is shown

(defun ingle--show (candidates)
  "Show the first of CANDIDATES at point."
  (ingle--hide)
  (let ((overlay (make-overlay (point) (point) nil nil t)))
    (overlay-put overlay 'ingle-ghost t)
    (overlay-put overlay 'keymap ingle-ghost-map)
    (overlay-put overlay 'priority 1000)
    (setq ingle--ghost
          (ingle--make-ghost :overlay overlay
                             :candidates (vconcat candidates)
                             :index 0 :anchor (copy-marker (point)) :typed 0
                             :size (buffer-size)))
    (add-hook 'post-command-hook #'ingle--watch)
    (ingle--draw)))

(defun ingle--ghost-text (&optional index)
  "The whole text of the candidate that is shown, or of that at INDEX."
  (car (aref (ingle--ghost-candidates ingle--ghost)
             (or index (ingle--ghost-index ingle--ghost)))))

(defun ingle--ghost-candidate ()
  "The candidate that is shown, without what was typed of it."
  (cons (ingle--ghost-rest)
        (cdr (aref (ingle--ghost-candidates ingle--ghost)
                   (ingle--ghost-index ingle--ghost)))))

(defun ingle--ghost-rest ()
  "The part of the suggestion that is still to come."
  (substring (ingle--ghost-text) (ingle--ghost-typed ingle--ghost)))

(defun ingle--draw ()
  "Put what is left of the suggestion after point."
  (let ((text (propertize (ingle--ghost-rest) 'face 'ingle-ghost))
        (overlay (ingle--ghost-overlay ingle--ghost)))
    ;; The cursor is drawn on a character that has this property.  A newline
    ;; is none that is drawn: it gets a space before it.
    (when (eq (aref text 0) ?\n)
      (setq text (concat " " text)))
    (put-text-property 0 1 'cursor t text)
    (move-overlay overlay (point) (point))
    (overlay-put overlay 'window (selected-window))
    (overlay-put overlay 'after-string text)))

(defun ingle--hide ()
  "Take the ghost text away."
  (when ingle--ghost
    (delete-overlay (ingle--ghost-overlay ingle--ghost))
    (set-marker (ingle--ghost-anchor ingle--ghost) nil)
    (setq ingle--ghost nil))
  (remove-hook 'post-command-hook #'ingle--watch))

(defun ingle--ghost-buffer ()
  "The buffer where ghost text is shown, or nil."
  (and ingle--ghost (overlay-buffer (ingle--ghost-overlay ingle--ghost))))

(defun ingle--ghost-here-p ()
  "Whether ghost text is shown at point."
  (and ingle--ghost
       (eq (current-buffer) (ingle--ghost-buffer))
       (= (point) (overlay-start (ingle--ghost-overlay ingle--ghost)))))

(defun ingle--watch ()
  "After a command: follow what was typed, or take the ghost text away."
  (ingle--guarded
    (when ingle--ghost
      (cond ((not (eq (current-buffer) (ingle--ghost-buffer)))
             ;; The minibuffer comes and goes over it, for commands like M-x.
             (unless (minibufferp) (ingle--hide)))
            ((or buffer-read-only (ingle--menu-p) (not (ingle--follow)))
             (ingle--hide)
             (ingle--after-command))
            ((string-empty-p (ingle--ghost-rest))
             (ingle--hide)
             (ingle--ask-soon))
            (t (ingle--draw))))))

(defun ingle--follow ()
  "Whether the suggestion is still right; note how much of it was typed."
  (let* ((ghost ingle--ghost)
         (anchor (marker-position (ingle--ghost-anchor ghost)))
         (typed (and anchor (- (point) anchor)))
         (text (ingle--ghost-text)))
    (when (and typed
               (<= 0 typed (length text))
               (= (buffer-size) (+ (ingle--ghost-size ghost) typed))
               (<= anchor (point) (point-max))
               (string= (buffer-substring-no-properties anchor (point))
                        (substring text 0 typed)))
      (setf (ingle--ghost-typed ghost) typed)
      t)))

;;;; Commands

(defun ingle-complete ()
  "Ask for suggestions at point, several if there are."
  (interactive "*")
  (require 'ingle-connection)
  (let ((refusal (ingle--refusal)))
    (if refusal
        (ingle--say "no suggestions: %s" refusal)
      (ingle--obtain (lambda (_connection)
                       (let ((connection (ingle--sync)))
                         (when connection
                           (ingle--hide)
                           (ingle--ask connection 1 #'ingle--receive-asked))))))))

(defun ingle-accept ()
  "Insert the suggestion."
  (interactive)
  (ingle--accept (lambda (text) (length text))))

(defun ingle-accept-word ()
  "Insert the next word of the suggestion."
  (interactive)
  (ingle--accept #'ingle--word-end))

(defun ingle-accept-line ()
  "Insert the suggestion up to the end of its line."
  (interactive)
  (ingle--accept #'ingle--line-end))

(defun ingle--word-end (text)
  "Length of the first word of TEXT, with the white space before it."
  (if (string-match "\\`[ \t\n]*\\(?:[[:alnum:]_]+\\|[^[:alnum:]_ \t\n]+\\)" text)
      (match-end 0)
    (length text)))

(defun ingle--line-end (text)
  "Length of the first line of TEXT that has something in it."
  (if (string-match "\\`\n*[^\n]*" text)
      (match-end 0)
    (length text)))

(defun ingle--accept (measure)
  "Insert the first part of the suggestion, its length by MEASURE."
  (if (not (and (ingle--ghost-here-p) (not buffer-read-only)))
      (ingle--say "there is no suggestion to accept")
    (let* ((text (ingle--ghost-rest))
           (count (funcall measure text))
           (whole (= count (length text)))
           (replaced (cdr (ingle--ghost-candidate))))
      (when whole
        (ingle--hide))
      (undo-boundary)
      (insert (substring text 0 count))
      (when whole
        (delete-region (point) (min (point-max) (+ (point) replaced)))))))

(defun ingle--if-several (command)
  "COMMAND if several candidates are there; for keys."
  (and ingle--ghost (> (length (ingle--ghost-candidates ingle--ghost)) 1) command))

(defun ingle-next ()
  "Show the next candidate; the first time, ask for others."
  (interactive)
  (cond ((not (ingle--ghost-here-p)) (ingle--say "there is no suggestion"))
        ((ingle--ghost-complete ingle--ghost) (ingle--step 1))
        (t (let ((connection (ingle--sync)))
             (when connection
               (ingle--say "looking for other suggestions...")
               (ingle--ask connection 1 #'ingle--receive-more))))))

(defun ingle-previous ()
  "Show the candidate before this one."
  (interactive)
  (if (ingle--ghost-here-p)
      (ingle--step -1)
    (ingle--say "there is no suggestion")))

(defun ingle--step (step)
  "Show the candidate that is STEP after the one that is shown."
  (let* ((ghost ingle--ghost)
         (count (length (ingle--ghost-candidates ghost)))
         (typed (ingle--ghost-typed ghost))
         (begun (substring (ingle--ghost-text) 0 typed)))
    (cl-loop repeat count
             do (setf (ingle--ghost-index ghost)
                      (mod (+ (ingle--ghost-index ghost) step) count))
             ;; What was typed must be the beginning of it, and not all.
             until (let ((text (ingle--ghost-text)))
                     (and (string-prefix-p begun text) (> (length text) typed))))
    (ingle--draw)
    (if (= count 1)
        (ingle--say "there is no other suggestion")
      (ingle--say "suggestion %d of %d" (1+ (ingle--ghost-index ghost)) count))))

(defun ingle-dismiss ()
  "Take the suggestion away, and do what the key does otherwise."
  (interactive)
  (ingle--forget)
  (let ((shown (ingle--ghost-here-p)))
    (ingle--hide)
    (when shown
      (let* ((keys (this-command-keys-vector))
             (command (key-binding keys t)))
        (cond ((eq command 'ingle-dismiss))
              ((commandp command)
               (setq this-command command)
               (call-interactively command))
              ((equal keys [escape])
               ;; Without a binding of its own it is the prefix ESC.
               (push ?\e unread-command-events)))))))

;;;; Per buffer

(defun ingle--ghost-on ()
  "Begin to ask for suggestions in this buffer."
  (add-hook 'pre-command-hook #'ingle--before-command nil t)
  (add-hook 'post-command-hook #'ingle--after-command nil t)
  (add-hook 'kill-buffer-hook #'ingle--ghost-gone nil t)
  (add-hook 'change-major-mode-hook #'ingle--ghost-gone nil t))

(defun ingle--ghost-off ()
  "Ask for nothing more in this buffer."
  (ingle--ghost-gone)
  (remove-hook 'pre-command-hook #'ingle--before-command t)
  (remove-hook 'post-command-hook #'ingle--after-command t)
  (remove-hook 'kill-buffer-hook #'ingle--ghost-gone t)
  (remove-hook 'change-major-mode-hook #'ingle--ghost-gone t))

(defun ingle--ghost-gone ()
  "Take suggestions away from this buffer before its end or another mode."
  (when (eq (current-buffer) (ingle--ghost-buffer))
    (ingle--hide))
  (ingle--forget))

(defun ingle--ghost-disconnected (connection)
  "Forget what was asked of CONNECTION, which has ended."
  (when (eq connection (car ingle--asked))
    (setq ingle--asked nil))
  (ingle--hide))

(add-hook 'ingle-disconnected-functions #'ingle--ghost-disconnected)

(provide 'ingle-ghost)
;;; ingle-ghost.el ends here
