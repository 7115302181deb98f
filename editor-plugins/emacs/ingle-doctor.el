;;; ingle-doctor.el --- What is missing?  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns the health check: a buffer with a line for each thing that must be
;; right, which fills as the answers come.  Nothing is waited for.

;;; Code:

(require 'cl-lib)
(require 'ingle-connection)
(require 'ingle-document)
(require 'ingle-ghost)
(require 'ingle-status)

(declare-function eglot-managed-p "eglot")
(defvar ingle-keymap-prefix)
(defvar ingle-command-map)

(defface ingle-doctor-good '((t :inherit success))
  "Face of what is right."
  :group 'ingle)

(defface ingle-doctor-bad '((t :inherit error))
  "Face of what is wrong."
  :group 'ingle)

(defface ingle-doctor-doubtful '((t :inherit warning))
  "Face of what is worth a look."
  :group 'ingle)

(defconst ingle-doctor--patience 15
  "Seconds after which an answer is not expected any more.")

(defvar-local ingle-doctor--run 0
  "Number of this run; answers to an earlier one don't count.")

(define-derived-mode ingle-doctor-mode special-mode "Ingle-Doctor"
  "Mode of the health check.  \\<ingle-doctor-mode-map>\\[revert-buffer] checks again."
  (setq-local revert-buffer-function (lambda (&rest _) (ingle-doctor))))

;;;###autoload
(defun ingle-doctor ()
  "Check what ingle needs, and say what to do."
  (interactive)
  (let ((buffer (if (derived-mode-p 'ingle-doctor-mode)
                    nil
                  (current-buffer)))
        (report (get-buffer-create "*ingle doctor*")))
    (with-current-buffer report
      (unless (derived-mode-p 'ingle-doctor-mode)
        (ingle-doctor-mode))
      (let ((inhibit-read-only t))
        (erase-buffer))
      (cl-incf ingle-doctor--run)
      (ingle-doctor--emacs)
      (when buffer
        (ingle-doctor--buffer buffer))
      (ingle-doctor--program))
    (pop-to-buffer report)))

;;;; The report

(defun ingle-doctor--say (grade topic format &rest arguments)
  "Add a line: GRADE is `good', `bad', `doubtful' or `wait'.
TOPIC is what it is about, FORMAT and ARGUMENTS say how that is.  A line
of the same topic that waits is replaced."
  (let ((inhibit-read-only t))
    (save-excursion
      (goto-char (point-min))
      (when (re-search-forward (format "^  \\.\\.   %s: .*\n" (regexp-quote topic)) nil t)
        (replace-match ""))
      (goto-char (point-max))
      (insert "  "
              (pcase grade
                ('good (propertize "ok  " 'face 'ingle-doctor-good))
                ('bad (propertize "FAIL" 'face 'ingle-doctor-bad))
                ('doubtful (propertize "note" 'face 'ingle-doctor-doubtful))
                (_ "..  "))
              " " topic ": " (apply #'format format arguments) "\n"))))

(defmacro ingle-doctor--later (&rest body)
  "A function for BODY, to be run in this report if it still is of this run.
The function's arguments are `_rest'."
  (declare (indent 0) (debug t))
  `(let ((report (current-buffer))
         (run ingle-doctor--run))
     (lambda (&rest rest)
       (ignore rest)
       (when (and (buffer-live-p report)
                  (= run (buffer-local-value 'ingle-doctor--run report)))
         (with-current-buffer report
           ,@body)))))

;;;; Checks

(defun ingle-doctor--emacs ()
  "Check Emacs."
  (if (version< emacs-version "28.1")
      (ingle-doctor--say 'bad "Emacs" "%s is too old: 28.1 or newer is needed" emacs-version)
    (ingle-doctor--say 'good "Emacs" "%s" emacs-version))
  (if (and (fboundp 'json-serialize) (json-available-p))
      (ingle-doctor--say 'good "JSON" "native")
    (ingle-doctor--say 'doubtful "JSON" "Emacs was built without its own JSON: this is slow"))
  (ingle-doctor--say
   (if (and ingle-keymap-prefix (keymapp ingle-command-map)) 'good 'doubtful)
   "keys" (if ingle-keymap-prefix "%s is the prefix" "no prefix is set")
   ingle-keymap-prefix))

(defun ingle-doctor--buffer (buffer)
  "Check what there is against suggestions in BUFFER."
  (let ((name (buffer-name buffer))
        (refusal (with-current-buffer buffer (ingle--refusal)))
        (unwelcome (with-current-buffer buffer (ingle--unwelcome-p)))
        (eglot (with-current-buffer buffer
                 (and (featurep 'eglot) (eglot-managed-p)
                      (if (ingle--eglot-connection) 'ours 'other)))))
    (cond (refusal (ingle-doctor--say 'doubtful name "%s" refusal))
          (unwelcome (ingle-doctor--say 'doubtful name "no suggestions: %s" unwelcome))
          (t (ingle-doctor--say 'good name "suggestions appear while you type")))
    (pcase eglot
      ('ours (ingle-doctor--say 'good "Eglot" "its server is ingle-lsp, which is used"))
      ('other (ingle-doctor--say 'good "Eglot" "has a server here; ingle-lsp runs beside it")))))

(defun ingle-doctor--program ()
  "Check the program, then its answers."
  (let* ((program (car ingle-lsp-command))
         (found (executable-find program)))
    (if (not found)
        (ingle-doctor--say
         'bad "ingle-lsp"
         "%s is not on PATH: pip install ingle, or set `ingle-lsp-command'%s" program
         (if (eq system-type 'darwin)
             " (an Emacs that was not started in a shell has another PATH)"
           ""))
      (ingle-doctor--say 'wait "ingle-lsp" "%s --version ..." found)
      (ingle-doctor--version found))))

(defun ingle-doctor--version (program)
  "Ask PROGRAM for its version, then go on."
  (let* ((output "")
         (done (ingle-doctor--later
                 (pcase-let ((`(,status ,text) rest))
                   (if (and (eql status 0) (string-match-p "\\`ingle-lsp " text))
                       (ingle-doctor--say 'good "ingle-lsp" "%s (%s)"
                                          (string-trim text) program)
                     (ingle-doctor--say 'bad "ingle-lsp" "%s does not work: %s" program
                                        (if (string-blank-p text)
                                            (format "exit status %s" status)
                                          (car (last (split-string (string-trim text)
                                                                   "\n"))))))
                   (ingle-doctor--connection))))
         (process (condition-case problem
                      (make-process
                       :name "ingle-doctor" :noquery t :connection-type 'pipe
                       :command (append (list program) (cdr ingle-lsp-command)
                                        '("--version"))
                       :filter (lambda (_ text) (setq output (concat output text)))
                       :sentinel (lambda (process _)
                                   (unless (process-live-p process)
                                     (funcall done (process-exit-status process) output))))
                    (error (funcall done -1 (error-message-string problem)) nil))))
    (when process
      (run-at-time ingle-doctor--patience nil
                   (lambda () (when (process-live-p process) (kill-process process)))))))

(defun ingle-doctor--connection ()
  "Check the connection, starting it if there is none, then what is behind it."
  (ingle-doctor--say 'wait "connection" "...")
  (let ((ready (ingle-doctor--later (ingle-doctor--server)))
        (late (ingle-doctor--later
                (goto-char (point-min))
                (when (search-forward "  ..   connection: " nil t)
                  (ingle-doctor--say
                   'bad "connection" "%s%s"
                   (if (eq ingle--state 'failed) ingle--failure
                     "ingle-lsp does not answer")
                   (if (string-empty-p ingle--last-stderr) ""
                     (concat "\n" (replace-regexp-in-string "^" "         "
                                                            ingle--last-stderr)))))))
        (timer nil))
    (setq timer (run-at-time ingle-doctor--patience nil late))
    (ingle--obtain (lambda (_) (cancel-timer timer) (funcall ready)))
    (when (eq ingle--state 'failed)
      (cancel-timer timer)
      (funcall late))))

(defun ingle-doctor--server ()
  "Check the server, then the daemon."
  (let* ((connection (ingle--connection))
         (version (plist-get (ingle--fact connection :server-info) :version))
         (protocol (ingle--fact connection :protocol)))
    (cond ((null protocol)
           (ingle-doctor--say 'bad "connection"
                              "this ingle-lsp is too old: pip install -U ingle"))
          ((< protocol ingle--protocol-version)
           (ingle-doctor--say 'bad "connection" "ingle-lsp speaks version %d of the messages, \
this plugin %d: pip install -U ingle" protocol ingle--protocol-version))
          (t (ingle-doctor--say 'good "connection" "version %d of the messages" protocol)))
    (unless (equal version ingle--version)
      (ingle-doctor--say 'doubtful "versions" "ingle-lsp %s, this plugin %s"
                         version ingle--version))
    (ingle-doctor--say 'wait "daemon" "...")
    (let ((then (ingle-doctor--later (ingle-doctor--daemon (car rest))))
          (else (ingle-doctor--later (ingle-doctor--say 'bad "daemon" "%s" (car rest)))))
      (ingle--command connection "ingle.status" nil :then then :else else))))

(defun ingle-doctor--daemon (status)
  "Check the daemon and its model, by STATUS."
  (let ((state (plist-get status :state))
        (text (plist-get status :text))
        (detail (or (plist-get status :detail) "")))
    (pcase state
      ((or "down" "incompatible")
       (ingle-doctor--say 'bad "daemon" "%s" (if (string-empty-p detail) text detail)))
      ("failed"
       (ingle-doctor--say 'good "daemon" "it runs")
       (ingle-doctor--say 'bad "model" "%s: %s" text detail))
      ("idle"
       (ingle-doctor--say 'good "daemon" "it runs")
       (ingle-doctor--say 'good "model" "none is loaded; the next request loads one"))
      (_
       (ingle-doctor--say 'good "daemon" "it runs")
       (ingle-doctor--say 'good "model" "%s%s" text
                          (let ((device (or (plist-get status :device) "")))
                            (if (string-empty-p device) "" (concat ", on " device))))))
    (when (eq (plist-get status :enabled) :json-false)
      (ingle-doctor--say 'doubtful "suggestions" "they are paused: %s resumes them"
                         (ingle--key-of 'ingle-resume)))))

(provide 'ingle-doctor)
;;; ingle-doctor.el ends here
