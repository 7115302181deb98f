;;; ingle-test.el --- What ingle's tests have in common  -*- lexical-binding: t; -*-

;;; Commentary:

;; Files to edit, keys to press, and waiting with a deadline.  The tests
;; run in Emacs' batch mode, against a real ingle-lsp behind a proxy that
;; records what is said (INGLE_TEST_RECORD).

;;; Code:

(require 'cl-lib)
(require 'ert)
(require 'ingle)
(require 'ingle-connection)
(require 'ingle-document)
(require 'ingle-ghost)

(setq ingle-debounce-ms 0
      ingle-deadline-ms 20000
      make-backup-files nil
      create-lockfiles nil
      auto-save-default nil
      python-indent-guess-indent-offset nil)

(defvar ingle-test-patience 30
  "Seconds that anything may take.")

(defmacro ingle-test-wait (form)
  "Wait until FORM is non-nil, and return its value."
  `(ingle-test--wait (lambda () ,form) ',form))

(defun ingle-test--wait (condition what)
  "Wait until CONDITION returns something, and return that; WHAT names it."
  (let ((give-up (+ (float-time) ingle-test-patience)) found)
    (while (not (setq found (funcall condition)))
      (when (> (float-time) give-up)
        (error "Waited in vain for %S; last message: %s; log: %s" what
               ingle--last-message ingle--last-stderr))
      (accept-process-output nil 0.01))
    found))

(defun ingle-test-settle ()
  "Let timers run, and the server answer what it was asked."
  (accept-process-output nil 0.01)
  (ingle-test-wait (and (null ingle--ask-timer) (null ingle--asked)))
  (when (ingle--connection)
    (let (done)
      (ingle--request (ingle--connection) :workspace/executeCommand
                      '(:command "ingle.status" :arguments [])
                      :then (lambda (_) (setq done t))
                      :else (lambda (&rest _) (setq done t)))
      (ingle-test-wait done))))

(defmacro ingle-test-in (name text &rest body)
  "Visit a new file NAME with TEXT, with `ingle-mode' on, and run BODY there.
Point is where TEXT has a bar, or at its end."
  (declare (indent 2))
  `(let* ((folder (make-temp-file "ingle-test" t))
          (file (expand-file-name ,name folder)))
     (setq ingle-test--earlier 0
           ingle-test--earlier (length (ingle-test-record))
           ingle--last-message "")
     (unwind-protect
         (progn
           (with-temp-file file (insert (string-replace "¦" "" ,text)))
           (switch-to-buffer (find-file-noselect file))
           (ingle-mode 1)
           (goto-char (1+ (or (string-search "¦" ,text) (length ,text))))
           ,@body)
       (ingle--forget)
       (ingle--hide)
       (when (find-buffer-visiting file)
         (with-current-buffer (find-buffer-visiting file)
           (set-buffer-modified-p nil)
           (kill-buffer)))
       (delete-directory folder t))))

(defun ingle-test-restart ()
  "Have the next test begin with an ingle-lsp of its own."
  (ingle--stop)
  (setq ingle--state 'stopped))

(defun ingle-test-keys (keys)
  "Press KEYS, in the notation of `kbd', in the selected window."
  (execute-kbd-macro (kbd keys)))

(defun ingle-test-type (text)
  "Type the characters of TEXT."
  (execute-kbd-macro (vconcat text)))

(defun ingle-test-ghost ()
  "The ghost text that is shown, or nil."
  (let ((overlays (cl-remove-if-not (lambda (overlay) (overlay-get overlay 'ingle-ghost))
                                    (overlays-in (point-min) (1+ (point-max))))))
    (should (<= (length overlays) 1))
    (when overlays
      (should ingle--ghost)
      (let ((text (substring-no-properties (overlay-get (car overlays) 'after-string))))
        ;; A newline has a space before it, for the cursor.
        (if (string-prefix-p " \n" text) (substring text 1) text)))))

(defun ingle-test-text ()
  "The buffer's text."
  (buffer-substring-no-properties (point-min) (point-max)))

(defvar ingle-test--earlier 0
  "How many of the recorded messages are of earlier tests.")

(defun ingle-test-record ()
  "What was said so far in this test: a list of (SIDE . MESSAGE)."
  (let ((file (getenv "INGLE_TEST_RECORD")))
    (when (and file (file-exists-p file))
      (with-temp-buffer
        (insert-file-contents file)
        (forward-line ingle-test--earlier)
        (cl-loop while (and (not (eobp)) (save-excursion (search-forward "\n" nil t)))
                 for line = (json-parse-buffer :object-type 'plist :null-object nil
                                               :false-object :json-false)
                 collect (cons (plist-get line :from) (plist-get line :message))
                 do (forward-line 1))))))

(defun ingle-test-sent (method)
  "The parameters of all that the plugin has sent of METHOD."
  (cl-loop for (side . message) in (ingle-test-record)
           if (and (equal side "editor") (equal (plist-get message :method) method))
           collect (plist-get message :params)))

(defun ingle-test-asked ()
  "How many suggestions were asked for."
  (length (ingle-test-sent "textDocument/inlineCompletion")))

(provide 'ingle-test)
;;; ingle-test.el ends here
